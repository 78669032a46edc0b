mod revoke;
mod services;
