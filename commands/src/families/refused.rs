//! Commands of modes this server does not have: clients ask anyway, and get the standard error at once.

use crate::call::Call;
use crate::command::{Command, Flags, Group, Keys};
use crate::error::Error;

/// Rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "cluster",
        wire_id: 310,
        arity: -2,
        keys: Keys::NONE,
        flags: Flags::LOADING.and(Flags::STALE),
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Refused: the server is not part of a cluster.",
        usage: "subcommand [argument ...]",
        subcommands: &[],
        run: refuse,
    },
    Command {
        name: "readonly",
        wire_id: 311,
        arity: 1,
        keys: Keys::NONE,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Refused: the server is not part of a cluster.",
        usage: "",
        subcommands: &[],
        run: refuse,
    },
    Command {
        name: "readwrite",
        wire_id: 312,
        arity: 1,
        keys: Keys::NONE,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Refused: the server is not part of a cluster.",
        usage: "",
        subcommands: &[],
        run: refuse,
    },
    Command {
        name: "asking",
        wire_id: 313,
        arity: 1,
        keys: Keys::NONE,
        flags: Flags::FAST,
        group: Group::Cluster,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Refused: the server is not part of a cluster.",
        usage: "",
        subcommands: &[],
        run: refuse,
    },
];

fn refuse(_: &mut Call<'_, '_>) -> Result<(), Error> {
    Err(Error::NO_CLUSTER)
}

#[cfg(test)]
mod tests {
    use crate::testkit::Testkit;

    #[test]
    fn questions_about_clusters_get_the_standard_error() {
        let mut t = Testkit::new();
        for line in [
            "CLUSTER INFO",
            "CLUSTER NODES",
            "cluster slots",
            "CLUSTER SHARDS",
            "CLUSTER KEYSLOT k",
            "CLUSTER HELP",
            "CLUSTER nosuch",
            "READONLY",
            "READWRITE",
            "ASKING",
        ] {
            assert_eq!(t.error(line), "ERR This instance has cluster support disabled", "{line}");
        }
        assert_eq!(t.error("CLUSTER"), "ERR wrong number of arguments for 'cluster' command");
        assert_eq!(t.error("READONLY x"), "ERR wrong number of arguments for 'readonly' command");
        assert!(t.error("SENTINEL MASTERS").starts_with("ERR unknown command 'SENTINEL'"));
    }
}
