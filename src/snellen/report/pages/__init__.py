"""Report pages of a run, a ladder and a study (one HTML file each, readable offline), and the model card of a run."""
