"""Where people meet SQLLLM: the command line and what it prints."""
