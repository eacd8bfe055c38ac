"""Serving: models on Ray Serve behind one gateway that speaks OpenAI's protocol."""

from .deploy.serving import Serving
from .spec import Autoscale, Deployment, ModelSpec

__all__ = ["Autoscale", "Deployment", "ModelSpec", "Serving"]
