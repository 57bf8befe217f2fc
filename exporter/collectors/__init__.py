"""One file per subject and engine: the only place most contributors ever touch."""
