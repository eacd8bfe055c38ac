"""Conversion: one model folder in, another out. ZeRO checkpoints, adapters, other number formats, GGUF."""
