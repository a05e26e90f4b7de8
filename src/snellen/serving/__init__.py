"""HTTP inference server: requests, the inference queue, limits, errors and the ASGI application."""
