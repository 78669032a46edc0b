//! Revokes and services.

mod revoke;
mod services;
