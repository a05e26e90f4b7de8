"""Understanding one run: what it cost, what is wrong with it, how it looks on a page."""
