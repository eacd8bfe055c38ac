"""The gateway: the ASGI application in front of the models. It imports neither `worker` nor `deploy`."""
