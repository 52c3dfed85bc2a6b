"""Networks of other methods, fitted to the same images for comparison."""
