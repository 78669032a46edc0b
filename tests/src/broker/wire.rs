//! Kafka's primitive types, plain and flexible (compact lengths and tags), read from requests and written to answers.
//!
//! A request that ends early or holds an impossible length is `None`, never a panic; what is written is what the version says.

/// The part of a request that was not read yet.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    rest: &'a [u8],
    /// Lengths are varints, and structures end with tags.
    pub is_flexible: bool,
}

impl<'a> Asked<'a> {
    /// All of a request.
    pub fn new(bytes: &'a [u8]) -> Asked<'a> {
        Asked { rest: bytes, is_flexible: false }
    }

    /// So many bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// One byte.
    pub fn int8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }

    /// Two bytes.
    pub fn int16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// Four bytes.
    pub fn int32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn int64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let [byte] = self.array()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// How many elements follow; `None` inside for null.
    pub fn count(&mut self) -> Option<Option<usize>> {
        if self.is_flexible {
            return Some(self.varint()?.checked_sub(1).map(|count| count as usize));
        }
        Some(usize::try_from(self.int32()?).ok())
    }

    /// A text; null is empty.
    pub fn text(&mut self) -> Option<String> {
        let len = if self.is_flexible { self.count()? } else { usize::try_from(self.int16()?).ok() };
        String::from_utf8(self.take(len.unwrap_or(0))?.to_vec()).ok()
    }

    /// The tags that end a structure.
    pub fn tags(&mut self) -> Option<()> {
        if self.is_flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                let len = self.varint()?;
                self.take(len as usize)?;
            }
        }
        Some(())
    }
}

/// An answer while it is written.
#[derive(Debug, Default)]
pub struct Answer {
    /// What was written.
    pub bytes: Vec<u8>,
    is_flexible: bool,
}

impl Answer {
    /// An empty one.
    pub fn new(is_flexible: bool) -> Answer {
        Answer { bytes: Vec::new(), is_flexible }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// One byte.
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(value.into());
    }

    /// Two bytes.
    pub fn int16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes.
    pub fn int32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes.
    pub fn int64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// How many elements follow.
    pub fn count(&mut self, count: usize) {
        if self.is_flexible { self.varint(count + 1) } else { self.int32(count as i32) }
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        if self.is_flexible {
            self.varint(text.len() + 1)
        } else {
            self.int16(text.len() as i16)
        }
        self.raw(text.as_bytes());
    }

    /// No text.
    pub fn null_text(&mut self) {
        if self.is_flexible { self.varint(0) } else { self.int16(-1) }
    }

    /// A list of numbers.
    pub fn int32s(&mut self, list: &[i32]) {
        self.count(list.len());
        list.iter().for_each(|number| self.int32(*number));
    }

    /// A structure ends.
    pub fn tags(&mut self) {
        if self.is_flexible {
            self.varint(0);
        }
    }
}
