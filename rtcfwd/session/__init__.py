"""Sessions and streams of the control plane: sans-IO above the forwarder's Protocol."""
