"""Scores of a reconstruction: PSNR, SSIM, error at patch borders, and objectives of a search."""
