//! One error kind: a sentence for the person who started the run. Nothing here is retried.

use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// Why the run stopped, ready to print.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same error with what was being done in front.
    pub fn during(self, step: impl fmt::Display) -> Self {
        Self(format!("{step}: {}", self.0))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

/// Shorthand for an early return with a formatted sentence.
macro_rules! fail {
    ($($part:tt)*) => { return Err($crate::error::Error::new(format!($($part)*))) };
}
pub(crate) use fail;
