//! One request as the rest of the house sees it: arguments by position, borrowed from the receive
//! buffer or owned.

use std::fmt;

/// Where one argument lies, counted from the first byte of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    #[inline]
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..][..self.len as usize]
    }
}

/// The arguments of one request, borrowed; argument 0 is the command name.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Pairs the bytes of one request (`consumed` of them, from its first) with the spans decoded
    /// from it.
    ///
    /// Spans that reach outside `bytes` make the accessors panic.
    #[inline]
    pub fn new(bytes: &'a [u8], spans: &'a [Span]) -> Args<'a> {
        Args { bytes, spans }
    }

    /// Number of arguments, the command name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True for a view without arguments, such as the tail of a bare command.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `i`, 0 being the command name.
    ///
    /// # Panics
    /// When `i >= len()`: arity is checked before a handler runs.
    #[inline]
    pub fn at(&self, i: usize) -> &'a [u8] {
        self.spans[i].of(self.bytes)
    }

    /// Argument `i`, or `None` behind the last one.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.spans.get(i).map(|span| span.of(self.bytes))
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| span.of(bytes))
    }

    /// The arguments from `first` on; empty when there are no more than `first`.
    #[inline]
    pub fn from(&self, first: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: self.spans.get(first..).unwrap_or(&[]) }
    }

    /// Sum of the argument lengths in bytes.
    pub fn byte_len(&self) -> usize {
        self.spans.iter().map(|span| span.len as usize).sum()
    }

    /// Appends the request as clients send it: an array of bulk strings.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("*{}\r\n", self.len()).as_bytes());
        for arg in self.iter() {
            out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// A copy that outlives the receive buffer; holds the arguments only, not the framing around
    /// them.
    pub fn to_owned(&self) -> OwnedRequest {
        OwnedRequest::collect(self.iter(), self.len(), self.byte_len())
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// A request kept beyond its receive buffer: queued in a transaction, parked, or built by a script.
/// Two allocations.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedRequest {
    bytes: Box<[u8]>,
    spans: Box<[Span]>,
}

impl OwnedRequest {
    /// A request from its arguments, the command name first.
    ///
    /// # Panics
    /// When the arguments sum up to more than `limits::MAX_REQUEST_BYTES`.
    pub fn from_slices(args: &[&[u8]]) -> OwnedRequest {
        OwnedRequest::collect(args.iter().copied(), args.len(), args.iter().map(|arg| arg.len()).sum())
    }

    fn collect<'a>(args: impl Iterator<Item = &'a [u8]>, count: usize, byte_len: usize) -> OwnedRequest {
        assert!(byte_len <= crate::limits::MAX_REQUEST_BYTES, "a request of {byte_len} bytes");
        let mut bytes = Vec::with_capacity(byte_len);
        let mut spans = Vec::with_capacity(count);
        for arg in args {
            spans.push(Span { start: bytes.len() as u32, len: arg.len() as u32 });
            bytes.extend_from_slice(arg);
        }
        OwnedRequest { bytes: bytes.into_boxed_slice(), spans: spans.into_boxed_slice() }
    }

    /// The arguments, as if they had just been decoded.
    #[inline]
    pub fn as_args(&self) -> Args<'_> {
        Args { bytes: &self.bytes, spans: &self.spans }
    }

    /// Heap bytes held, for the accounting of queued commands.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.spans)
    }
}

impl fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_args().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(args: Args<'_>) -> Vec<&[u8]> {
        args.iter().collect()
    }

    #[test]
    fn views() {
        let bytes = b"..GETxkey";
        let spans = [Span { start: 2, len: 3 }, Span { start: 6, len: 3 }, Span { start: 9, len: 0 }];
        let args = Args::new(bytes, &spans);
        assert_eq!(texts(args), [&b"GET"[..], b"key", b""]);
        assert_eq!((args.len(), args.is_empty(), args.byte_len()), (3, false, 6));
        assert_eq!(args.at(1), b"key");
        assert_eq!(args.get(2), Some(&b""[..]));
        assert_eq!(args.get(3), None);
        assert_eq!(texts(args.from(1)), [&b"key"[..], b""]);
        assert!(args.from(3).is_empty() && args.from(9).is_empty());
        assert_eq!(args.iter().len(), 3);
        assert_eq!(args.iter().next_back(), Some(&b""[..]));
        assert_eq!(format!("{args:?}"), r#"["GET", "key", ""]"#);
    }

    #[test]
    #[should_panic]
    fn at_behind_the_end() {
        Args::new(b"", &[]).at(0);
    }

    #[test]
    fn owned_copies_hold_arguments_only() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".to_vec();
        let spans = [Span { start: 8, len: 3 }, Span { start: 17, len: 3 }];
        let owned = Args::new(&bytes, &spans).to_owned();
        drop(bytes);
        assert_eq!(texts(owned.as_args()), [b"GET", b"key"]);
        assert_eq!(owned, OwnedRequest::from_slices(&[b"GET", b"key"]));
        assert_eq!(owned.heap_bytes(), 6 + 2 * size_of::<Span>());
        assert!(OwnedRequest::from_slices(&[]).as_args().is_empty());
        assert_eq!(texts(owned.as_args().from(1).to_owned().as_args()), [b"key"]);
    }
}
