"""What holds a model: the server of one worker, and the engines."""
