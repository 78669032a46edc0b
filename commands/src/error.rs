//! Error replies: a code clients match on, and a text.

use std::borrow::Cow;
use std::fmt;

/// The first word of an error reply. Clients match these words: the list is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Code {
    Err,
    WrongType,
    WrongPass,
    NoAuth,
    NoProto,
    ExecAbort,
    Oom,
    NoScript,
    Busy,
    Loading,
    Readonly,
    NoPerm,
    Denied,
    BusyRevoke,
    NoService,
    Unblocked,
    Origin,
    Stale,
    Poison,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 19] = [
        Self::Err,
        Self::WrongType,
        Self::WrongPass,
        Self::NoAuth,
        Self::NoProto,
        Self::ExecAbort,
        Self::Oom,
        Self::NoScript,
        Self::Busy,
        Self::Loading,
        Self::Readonly,
        Self::NoPerm,
        Self::Denied,
        Self::BusyRevoke,
        Self::NoService,
        Self::Unblocked,
        Self::Origin,
        Self::Stale,
        Self::Poison,
    ];

    /// The word itself.
    pub fn word(self) -> &'static str {
        match self {
            Self::Err => "ERR",
            Self::WrongType => "WRONGTYPE",
            Self::WrongPass => "WRONGPASS",
            Self::NoAuth => "NOAUTH",
            Self::NoProto => "NOPROTO",
            Self::ExecAbort => "EXECABORT",
            Self::Oom => "OOM",
            Self::NoScript => "NOSCRIPT",
            Self::Busy => "BUSY",
            Self::Loading => "LOADING",
            Self::Readonly => "READONLY",
            Self::NoPerm => "NOPERM",
            Self::Denied => "DENIED",
            Self::BusyRevoke => "BUSYREVOKE",
            Self::NoService => "NOSERVICE",
            Self::Unblocked => "UNBLOCKED",
            Self::Origin => "ORIGIN",
            Self::Stale => "STALE",
            Self::Poison => "POISON",
        }
    }
}

/// Bytes of a peer's word, or list of words, that an error quotes.
pub(crate) const QUOTED_BYTES: usize = 128;

/// What of a peer's word is quoted where there is room for `room` bytes.
pub(crate) fn quoted(word: &[u8], room: usize) -> &[u8] {
    &word[..word.len().min(room)]
}

/// An error reply. Its text may quote the peer's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code word.
    pub code: Code,
    /// What follows it.
    pub text: Cow<'static, [u8]>,
}

impl Error {
    const fn fixed(code: Code, text: &'static str) -> Self {
        Self { code, text: Cow::Borrowed(text.as_bytes()) }
    }

    /// `ERR` with a fixed text.
    pub const fn err(text: &'static str) -> Self {
        Self::fixed(Code::Err, text)
    }

    /// `ERR` with a text made for the occasion.
    pub fn because(text: impl Into<String>) -> Self {
        Self { code: Code::Err, text: Cow::Owned(text.into().into_bytes()) }
    }

    /// `ERR` with a word of the peer between two texts. Of a long word only the first 128 bytes are quoted.
    pub fn quoting(before: &str, word: &[u8], after: &str) -> Self {
        let text = [before.as_bytes(), quoted(word, QUOTED_BYTES), after.as_bytes()].concat();
        Self { code: Code::Err, text: Cow::Owned(text) }
    }

    /// The wrong number of arguments for the command of this full name.
    pub fn arity(name: &str) -> Self {
        Self::because(format!("wrong number of arguments for '{name}' command"))
    }

    /// An expire time that is not positive or too large.
    pub fn invalid_expire(name: &str) -> Self {
        Self::because(format!("invalid expire time in '{name}' command"))
    }

    /// What is asked for cannot be written.
    pub fn readonly(what: String) -> Self {
        Self { code: Code::Readonly, text: Cow::Owned(what.into_bytes()) }
    }

    /// An origin refused a write with this status, or nobody knows.
    pub fn origin(what: String) -> Self {
        Self { code: Code::Origin, text: Cow::Owned(what.into_bytes()) }
    }

    /// Option words that do not fit the grammar.
    pub const SYNTAX: Self = Self::err("syntax error");
    /// A number that is no signed 64-bit integer.
    pub const NOT_INTEGER: Self = Self::err("value is not an integer or out of range");
    /// A number that is no finite double.
    pub const NOT_FLOAT: Self = Self::err("value is not a valid float");
    /// A database number outside the configured range.
    pub const DB_RANGE: Self = Self::err("DB index is out of range");
    /// The key of a RENAME does not exist.
    pub const NO_SUCH_KEY: Self = Self::err("no such key");
    /// Source and destination are one key.
    pub const SAME_OBJECT: Self = Self::err("source and destination objects are the same");
    /// A string would pass the longest allowed.
    pub const TOO_LONG: Self = Self::err("string exceeds maximum allowed size (proto-max-bulk-len)");
    /// A command of cluster mode.
    pub const NO_CLUSTER: Self = Self::err("This instance has cluster support disabled");
    /// The key holds another type.
    pub const WRONG_TYPE: Self =
        Self::fixed(Code::WrongType, "Operation against a key holding the wrong kind of value");
    /// Login failed.
    pub const WRONG_PASS: Self = Self::fixed(Code::WrongPass, "invalid username-password pair or user is disabled.");
    /// Login is required first.
    pub const NO_AUTH: Self = Self::fixed(Code::NoAuth, "Authentication required.");
    /// Login is required first, or together with HELLO.
    pub const NO_AUTH_HELLO: Self = Self::fixed(
        Code::NoAuth,
        "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
         option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
    /// HELLO asked for a protocol that does not exist.
    pub const NO_PROTO: Self = Self::fixed(Code::NoProto, "unsupported protocol version");
    /// A command of the transaction was refused when it was queued.
    pub const EXEC_ABORT: Self = Self::fixed(Code::ExecAbort, "Transaction discarded because of previous errors.");
    /// All places for connections are taken.
    pub const TOO_MANY_CLIENTS: Self = Self::err("max number of clients reached");
    /// A peer on another machine, in protected mode.
    pub const PROTECTED: Self = Self::fixed(
        Code::Denied,
        "Millpond runs in protected mode: no password is set, so only connections from this machine are served. \
         To serve others set a password (requirepass), or, on a network you trust, turn protected-mode off.",
    );
    /// The revoke log has no room.
    pub const BUSY_REVOKE: Self =
        Self::fixed(Code::BusyRevoke, "too many groups were revoked that are still being swept: try again soon");
    /// The keys of that service are in another database than the selected one.
    pub const OTHER_DATABASE: Self = Self::err("that service belongs to another database");
    /// No service of that name.
    pub const NO_SERVICE: Self = Self::fixed(Code::NoService, "no such service");
    /// The wait of a command was ended by CLIENT UNBLOCK.
    pub const UNBLOCKED: Self = Self::fixed(Code::Unblocked, "client unblocked via CLIENT UNBLOCK");
    /// The memory limit is reached and nothing can be evicted.
    pub const OOM: Self = Self::fixed(Code::Oom, "command not allowed when used memory > 'maxmemory'.");

    /// The reply's text: code, space, text.
    pub fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(self.code.word().len() + 1 + self.text.len());
        line.extend_from_slice(self.code.word().as_bytes());
        line.push(b' ');
        line.extend_from_slice(&self.text);
        line
    }
}

impl From<storage::WrongType> for Error {
    fn from(_: storage::WrongType) -> Self {
        Self::WRONG_TYPE
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.line()))
    }
}

impl std::error::Error for Error {}
