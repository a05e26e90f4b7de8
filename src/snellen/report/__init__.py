"""Reports on a run: cost, diagnosis, plots, HTML pages and annotated images."""
