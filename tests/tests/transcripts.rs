//! What each client library sends when it connects, replayed in one write, byte by byte and command by command.

use millpond_tests::run::{Delivery, replay, scripts};

fn check(delivery: Delivery) {
    let differences: Vec<String> = scripts("transcripts").iter().flat_map(|script| replay(script, delivery)).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn in_one_write() {
    check(Delivery::AtOnce);
}

#[test]
fn byte_by_byte() {
    check(Delivery::ByteByByte);
}

#[test]
fn command_by_command() {
    check(Delivery::PerCommand);
}
