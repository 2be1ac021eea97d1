"""TensorFlow.js models and weights."""
