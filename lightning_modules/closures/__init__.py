"""What may be learned inside the physics: networks and schemes of the stomatal stress, and how a configuration names them."""
