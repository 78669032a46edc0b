//! Any line splits into arguments that lie in it one behind the other, or is refused without a
//! trace; and arguments quoted again split into themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::inline::split;

fuzz_target!(|line: &[u8]| {
    let mut text = line.to_vec();
    let mut spans = Vec::new();
    let Ok(count) = split(&mut text, &mut spans) else {
        assert!(spans.is_empty());
        return;
    };
    assert_eq!(count, spans.len());
    let mut end = 0;
    let mut quoted = Vec::new();
    let mut args = Vec::new();
    for span in &spans {
        let start = span.start as usize;
        assert!(start >= end);
        end = start + span.len as usize;
        let arg = &text[start..end];
        args.push(arg.to_vec());
        quoted.push(b'"');
        for byte in arg {
            quoted.extend(format!("\\x{byte:02x}").bytes());
        }
        quoted.extend(b"\"\t");
    }
    spans.clear();
    assert_eq!(split(&mut quoted, &mut spans), Ok(args.len()));
    let again = spans.iter().map(|s| &quoted[s.start as usize..][..s.len as usize]);
    assert!(again.eq(args.iter().map(Vec::as_slice)));
});
