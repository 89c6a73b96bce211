"""Where plays come from: listening histories and the simulator."""
