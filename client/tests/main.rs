//! The library and the four binaries against a scripted server.
