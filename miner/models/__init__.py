"""Block networks: encodings, activations, hidden layers and output heads. Tensors only."""
