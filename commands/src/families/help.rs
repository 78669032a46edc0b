//! What every command with subcommands shares: its HELP, and the error for arguments that fit none of its forms.

use crate::call::Call;
use crate::command::Command;
use crate::error::Error;

/// The HELP subcommand of any command: its rows, in the layout redis-cli shows.
pub fn help(call: &mut Call<'_, '_>) -> Result<(), Error> {
    let parent = call.command.parent().unwrap_or(call.command);
    let subcommands = parent.subcommands.iter();
    let mut lines: Vec<(String, &str)> = subcommands.map(|row| (form(row), row.summary)).collect();
    lines.sort_by_key(|(form, _)| form == "HELP");
    write(call, &parent.name.to_uppercase(), &lines);
    Ok(())
}

fn form(row: &Command) -> String {
    format!("{} {}", row.own_name().to_uppercase(), row.usage).trim_end().to_owned()
}

/// Writes a help text: each form of `command` with what it does.
pub fn write(call: &mut Call<'_, '_>, command: &str, lines: &[(impl AsRef<str>, &str)]) {
    call.reply.array(1 + 2 * lines.len());
    call.reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (form, text) in lines {
        call.reply.simple(form.as_ref());
        call.reply.simple(&format!("    {text}"));
    }
}

/// The error for a known subcommand (`args[1]`) with arguments it does not take.
pub fn wrong_form(call: &Call<'_, '_>) -> Error {
    let word = call.args.at(1);
    let parent = call.command.parent().unwrap_or(call.command);
    unfit("unknown subcommand or wrong number of arguments for", parent, word)
}

/// The error `what` about the word that should name a subcommand of `parent`; it points to HELP.
pub(crate) fn unfit(what: &str, parent: &Command, word: &[u8]) -> Error {
    Error::quoting(&format!("{what} '"), word, &format!("'. Try {} HELP.", parent.name.to_uppercase()))
}

#[cfg(test)]
mod tests {
    use crate::table;
    use crate::testkit::Testkit;

    #[test]
    fn every_command_with_subcommands_explains_them() {
        let mut t = Testkit::new();
        for command in table::commands().filter(|row| !row.subcommands.is_empty()) {
            let reply = t.run(&format!("{} HELP", command.name));
            assert!(reply.starts_with('*'), "{}: {reply}", command.name);
            let forms: Vec<&str> = reply.lines().filter_map(|line| line.strip_prefix('+')).collect();
            for row in command.subcommands {
                let own = row.own_name().to_uppercase();
                let is_form = |line: &&str| line.split(' ').next() == Some(own.as_str());
                assert!(forms.iter().any(is_form), "{} HELP does not know {own}", command.name);
            }
        }
    }

    #[test]
    fn layout() {
        let reply = Testkit::new().run("MODULE HELP");
        assert!(
            reply.starts_with(
                "*5\r\n+MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+LIST\r\n+    "
            )
        );
        assert!(reply.contains("\r\n+HELP\r\n+    "), "{reply}");
    }
}
