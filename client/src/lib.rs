//! Client side of Quartet.
