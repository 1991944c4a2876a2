"""From an engine and examples to a trained, calibrated, saved model. No file here knows how an engine works."""
