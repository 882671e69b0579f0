//! Every documented form is read, and what makes no sense is refused.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

const FORMS: &[&str] = &[
    "concord start",
    "concord start --data-dir d --node-id 1 --http 127.0.0.1:0 --peer 127.0.0.1:0 --seeds a:1,b:2,c:3",
    "concord start --peer a:1 --gossip a:2 --gossip-seeds b:2,c:2 --discover",
    "concord start --join a:1 --profile prod --log-format json --cluster-secret-file s --config c.toml",
    "concord status --endpoints http://a,http://b --timeout 500ms --output json",
    "concord ready --wait 30s",
    "concord members",
    "concord token create --name n --role a --role b --permissions read,write --ttl 30d",
    "concord token rotate n --grace 1h",
    "concord token grant n viewer",
    "concord --token-file f token list",
    "concord role create r --permissions read",
    "concord acl set r a:* --permissions read,write --token-file f",
    "concord acl delete r a:*",
    "concord whoami",
    "concord can-i read a:1",
    "concord explain-access n a:1",
    "concord get k --raw --consistency strong --revision 7",
    "concord put k v --ttl 30s",
    "concord put k - --binary",
    "concord put k -5 --text",
    "concord put k v --compress false",
    "concord watch a --where version>1",
    "concord subscription create s --prefix a --events put --where version>1 --from-revision 7",
    "concord subscription consume s --ack --limit 3 --previous",
    "concord subscription ack s 7",
    "concord subscription reset s --from-revision 7",
    "concord subscription list",
    "concord put k --file f --json",
    "concord delete a b c",
    "concord touch k --ttl 1h30m",
    "concord incr k --by -3",
    "concord scan --prefix a --limit 5 --reverse --keys-only --all",
    "concord scan --start a --end b",
    "concord scan a",
    "concord --endpoints http://a,http://b --timeout 1s -o json get k",
    "concord --output json lease grant 5s",
    "concord lease info 7 --limit 5 --all",
    "concord lease list --after 7 --limit 5",
    "concord put k v --idempotency-key order-7",
    "concord ttl k",
    "concord history k --limit 3",
    "concord watch",
    "concord watch user: --previous --from-revision 7 --limit 3",
    "concord watch --key k --events put,delete --output json",
    "concord watch --start a --end b",
    "concord watch --glob user:*:mail",
    "concord watch --pattern ^user:[0-9]+$",
    "concord query",
    "concord query value.age>=30 --prefix user: --order-by $.age --reverse --limit 3 --offset 1 --all",
    "concord query --range a b --keys-only --max-scanned 10",
    "concord query --glob a* --select age=value.age --select version",
    "concord query --pattern ^a --count",
    "concord query --suffix x --contains y --delete --limit 5",
    "concord query --start a --end b --explain",
    "concord index create mail $.email --prefix user: --unique --no-fill --wait",
    "concord index drop mail",
    "concord index list",
    "concord index show mail",
    "concord index reindex mail --wait",
    "concord index lookup mail a@b.c --keys-only",
    "concord index lookup age --from -3 --before 30 --reverse --limit 5 --all",
    "concord cluster add 127.0.0.1:5004",
    "concord cluster promote 4",
    "concord cluster remove 4",
    "concord cluster replace 3 4",
    "concord cluster transfer",
    "concord cluster transfer 2",
    "concord cluster snapshot",
    "concord cluster compact 100",
    "concord config check --config c.toml",
    "concord config show --node-id 1",
    "concord config reference",
    "concord context list -o json",
    "concord context use prod",
    "concord --context prod get k",
    "concord get k --context prod",
    "concord completions bash",
];

#[test]
fn every_command_reads_its_documented_form() {
    for line in FORMS {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (line, kind) in [
        ("concord frobnicate", ErrorKind::InvalidSubcommand),
        ("concord get", ErrorKind::MissingRequiredArgument),
        ("concord get k --colour", ErrorKind::UnknownArgument),
        ("concord get k --consistency sometimes", ErrorKind::InvalidValue),
        ("concord get k --revision -1", ErrorKind::UnknownArgument),
        ("concord put k", ErrorKind::MissingRequiredArgument),
        ("concord put k v --file f", ErrorKind::ArgumentConflict),
        ("concord put k v --json --binary", ErrorKind::ArgumentConflict),
        ("concord incr k --by 1.5", ErrorKind::ValueValidation),
        ("concord scan --prefix a --start b", ErrorKind::ArgumentConflict),
        ("concord watch a --key b", ErrorKind::ArgumentConflict),
        ("concord watch --glob a --start b", ErrorKind::ArgumentConflict),
        ("concord watch --glob a --pattern b", ErrorKind::ArgumentConflict),
        ("concord query --count --delete", ErrorKind::ArgumentConflict),
        ("concord query --range a", ErrorKind::WrongNumberOfValues),
        ("concord index lookup i 1 --from 2", ErrorKind::ArgumentConflict),
        (
            "concord index lookup i --from 1 --after 2",
            ErrorKind::ArgumentConflict,
        ),
        (
            "concord start --seeds a:1 --join b:2",
            ErrorKind::ArgumentConflict,
        ),
        ("concord start --discover --join b:2", ErrorKind::ArgumentConflict),
        ("concord status --timeout 0", ErrorKind::ValueValidation),
        ("concord --timeout 0 status", ErrorKind::ValueValidation),
        (
            "concord put k v --idempotency-key a\u{7f}",
            ErrorKind::ValueValidation,
        ),
        (
            "concord lease keep-alive 7 --forever --idempotency-key k",
            ErrorKind::ArgumentConflict,
        ),
        ("concord status --timeout 1.5s", ErrorKind::ValueValidation),
        ("concord delete", ErrorKind::MissingRequiredArgument),
        ("concord cluster promote x", ErrorKind::ValueValidation),
    ] {
        assert_eq!(parse(line).map(|_| ()), Err(kind), "{line}");
    }
}
