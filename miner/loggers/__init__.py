"""Lightning loggers: TensorBoard, CSV, Weights & Biases, and the end of a sweep."""
