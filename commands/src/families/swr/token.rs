//! Tokens of leases on the wire: 24 hexadecimal digits, 16 of the lease and 8 of this start of the server.

use crate::node::Node;

/// Digits of a token.
const DIGITS: usize = 24;

fn incarnation(node: &Node) -> &str {
    node.run_id.get(..8).unwrap_or("00000000")
}

/// A token as clients are given it.
pub(super) fn format(token: u64, node: &Node) -> String {
    format!("{token:016x}{}", incarnation(node))
}

/// The token a client gave, or `None` where it is none of this start. Such a one names no lease.
pub(super) fn parse(text: &[u8], node: &Node) -> Option<u64> {
    let text = core::str::from_utf8(text).ok().filter(|text| text.len() == DIGITS && text.is_ascii())?;
    let (token, of) = text.split_at(16);
    let is_hex = token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || of != incarnation(node) {
        return None;
    }
    u64::from_str_radix(token, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Testkit;

    #[test]
    fn only_tokens_of_this_start_count() {
        let node = &Testkit::new().node;
        let text = format(0x12ab, node);
        assert_eq!((text.len(), parse(text.as_bytes(), node)), (DIGITS, Some(0x12ab)));
        for wrong in ["", "x", &text[1..], &text.to_uppercase(), &format!("{text}0"), &format!("{:016x}ffffffff", 1)] {
            assert_eq!(parse(wrong.as_bytes(), node), None, "{wrong}");
        }
        assert_eq!(parse(format!("+{}", &text[1..]).as_bytes(), node), None);
        assert_eq!(parse("é".repeat(12).as_bytes(), node), None);
    }
}
