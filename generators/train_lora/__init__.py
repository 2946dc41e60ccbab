"""Training a LoRA is a generation too: its record names the pictures, the model and every setting.

So that a doubt about one picture reaches the LoRA, and every asset that was made with it.
"""
