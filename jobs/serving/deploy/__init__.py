"""What the driver does: places models on Ray Serve, and follows their life."""
