"""Images in and out: any local file to (C, H, W) in [0, 1], and back in its own bit depth."""
