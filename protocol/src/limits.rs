//! Every bound the decoder puts on a peer, each with its argument.

/// Arguments of one request. Redis' own bound until 7.0; a larger request would pin 8 bytes of span
/// per 6 bytes sent.
pub const MAX_ARGS: usize = 1_048_576;

/// Bytes of one argument: the default of `proto-max-bulk-len`.
pub const MAX_BULK_BYTES: usize = 512 * 1024 * 1024;

/// Bytes of an inline request, and of a `*n` or `$n` line, before its line end: Redis'
/// `PROTO_INLINE_MAX_SIZE`.
pub const MAX_INLINE_BYTES: usize = 64 * 1024;

/// Arguments of a request before login: enough for `HELLO 3 AUTH user password SETNAME name`.
pub const MAX_ARGS_UNAUTHENTICATED: usize = 10;

/// Bytes of one argument before login: no password or name is longer.
pub const MAX_BULK_BYTES_UNAUTHENTICATED: usize = 16 * 1024;

/// Bytes of one whole request: spans hold offsets in 32 bits.
pub const MAX_REQUEST_BYTES: usize = u32::MAX as usize;

const _: () = assert!(usize::BITS >= 64, "offsets are added without overflow checks");
const _: () = assert!(MAX_BULK_BYTES < MAX_REQUEST_BYTES);
const _: () = assert!(MAX_ARGS <= u32::MAX as usize);
const _: () = assert!(MAX_ARGS_UNAUTHENTICATED <= MAX_ARGS && MAX_BULK_BYTES_UNAUTHENTICATED <= MAX_BULK_BYTES);

/// What one connection may send now; a change holds from the next header line on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one request.
    pub max_args: usize,
    /// Bytes of one argument (`proto-max-bulk-len`).
    pub max_bulk: usize,
    /// Bytes of an inline request or a header line, without its line end.
    pub max_inline: usize,
    /// False while the server waits for this connection's login: [`MAX_ARGS_UNAUTHENTICATED`] and
    /// [`MAX_BULK_BYTES_UNAUTHENTICATED`] hold as well.
    pub authenticated: bool,
}

impl Limits {
    /// The defaults for a connection that needs no login or has logged in.
    pub const DEFAULT: Limits =
        Limits { max_args: MAX_ARGS, max_bulk: MAX_BULK_BYTES, max_inline: MAX_INLINE_BYTES, authenticated: true };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}
