"""A run behind LitServe, for bench/serving.py: `litserve_server.py RUN PORT [zmq]`. Model and preprocessing: ours."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

import litserve
import torch

from snellen.api import TrainedRun, load
from snellen.modalities.image_files import read_image


class PredictAPI(litserve.LitAPI):
    """The /predict response of `snellen serve` for one file."""

    def setup(self, device: Any) -> None:
        torch.set_num_threads(1)
        self.trained: TrainedRun = load(sys.argv[1], device="cpu")

    def decode_request(self, request: dict[str, str]) -> tuple[str, torch.Tensor]:
        image_file = io.BytesIO(base64.b64decode(request["picture"]))
        x = read_image(image_file, self.trained.spec, self.trained.record.preprocessing)
        return request["name"], x[None]  # (1, C, H, W)

    def predict(self, x: tuple[str, torch.Tensor]) -> list[dict[str, Any]]:
        return self.trained.predict_records([x[0]], x[1])

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"answers": output}


if __name__ == "__main__":
    server = litserve.LitServer(PredictAPI(), accelerator="cpu", fast_queue="zmq" in sys.argv)
    server.run("127.0.0.1", int(sys.argv[2]), num_api_servers=1, generate_client_file=False, log_level="error")
