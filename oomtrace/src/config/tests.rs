use std::fs;

use clap::{CommandFactory as _, FromArgMatches as _};

use super::*;
use crate::cli::Cli;

/// A command line, an environment and a file.
struct World<'a> {
    line: &'a str,
    variables: &'a [(&'a str, &'a str)],
    file: &'a str,
}

/// What options result in, or what is wrong.
fn layers(world: &World<'_>) -> Result<(Layered, ArgMatches), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    fs::write(&path, world.file).expect("a file");
    let arguments: Vec<OsString> = world.line.split(' ').map(OsString::from).collect();
    let variables = world.variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    // The name of the file differs from run to run.
    let said = |error: &dyn fmt::Display| error.to_string().replace(&path.display().to_string(), "FILE");
    let layered = layered_over(Cli::command(), &arguments, variables, &path).map_err(|error| said(&error))?;
    let matches = layered.command.clone().try_get_matches_from(arguments).map_err(|error| said(&error))?;
    Cli::from_arg_matches(&matches).map_err(|error| said(&error))?;
    Ok((layered, matches))
}

/// An option's values, and where they are from.
fn option(world: &World<'_>, id: &str) -> (Vec<String>, &'static str) {
    let (layered, matches) = layers(world).expect("nothing is wrong");
    let of = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    let values = of.get_raw(id).map(|raw| raw.map(|value| value.to_string_lossy().into_owned()).collect());
    let origin = match layered.origin(id, of) {
        Origin::Flag => "flag",
        Origin::Variable(_) => "variable",
        Origin::File(..) => "file",
        Origin::Default => "default",
    };
    (values.unwrap_or_default(), origin)
}

fn wrong(line: &str, variables: &[(&str, &str)], file: &str) -> String {
    layers(&World { line, variables, file }).expect_err("something is wrong")
}

const FILE: &str = "ring-size = 8\nlog-level = \"warn\"\nno-incidents = true\nkubelet-unit = [\"a\", \"b\"]\n";

#[test]
fn a_flag_is_stronger_than_a_variable_that_than_a_file_and_that_than_a_default() {
    for line in ["oomtrace", "oomtrace run", "oomtrace config"] {
        let with = |line, variables| World { line, variables, file: FILE };
        let flags = format!("{line} --ring-size 32");
        let variables = [("OOMTRACE_RING_SIZE", "16")];
        assert_eq!(option(&with(&flags, &variables), "ring_size"), (vec!["32".to_owned()], "flag"));
        assert_eq!(option(&with(line, &variables), "ring_size"), (vec!["16".to_owned()], "variable"));
        assert_eq!(option(&with(line, &[]), "ring_size"), (vec!["8".to_owned()], "file"));
        assert_eq!(option(&with(line, &[]), "map_size"), (vec!["1024".to_owned()], "default"));
    }
}

#[test]
fn switches_lists_and_global_options_are_configured_like_the_rest() {
    let world = World { line: "oomtrace run", variables: &[("OOMTRACE_OUTPUT", "jsonl,text:/a")], file: FILE };
    assert_eq!(option(&world, "no_incidents"), (vec!["true".to_owned()], "file"));
    assert_eq!(option(&world, "kubelet_unit").0, ["a", "b"]);
    assert_eq!(option(&world, "output").0, ["jsonl", "text:/a"]);
    assert_eq!(option(&world, "log_level"), (vec!["warn".to_owned()], "file"));
    let off = World { line: "oomtrace run", variables: &[("OOMTRACE_NO_INCIDENTS", "false")], file: FILE };
    assert_eq!(option(&off, "no_incidents"), (vec!["false".to_owned()], "variable"));
}

#[test]
fn an_empty_variable_is_none() {
    let world = World { line: "oomtrace run", variables: &[("OOMTRACE_RING_SIZE", "")], file: "" };
    assert_eq!(option(&world, "ring_size").1, "default");
}

#[test]
fn the_runtimes_own_variable_is_weaker_than_what_is_meant_for_oomtrace() {
    let file = "cri-endpoint = \"/run/a.sock\"";
    let world = World { line: "oomtrace run", variables: &[], file };
    assert_eq!(option(&world, "cri_endpoint"), (vec!["/run/a.sock".to_owned()], "file"));
}

#[test]
fn other_subcommands_have_tables_and_variables_of_their_own() {
    let file = "format = \"json\"\nhost-root = \"/host\"\ncgroup-root = \"/c\"\n[pods]\nhost-root = \"/pods\"\n";
    let pods = World { line: "oomtrace pods", variables: &[("OOMTRACE_FORMAT", "json")], file };
    assert_eq!(option(&pods, "format").1, "default", "that is run's");
    assert_eq!(option(&pods, "host_root").0, ["/pods"]);
    assert_eq!(option(&pods, "cgroup_root").0, ["/c"], "the node is the same");
    let doctor = World { line: "oomtrace doctor", variables: &[("OOMTRACE_DOCTOR_FORMAT", "json")], file };
    assert_eq!(option(&doctor, "format"), (vec!["json".to_owned()], "variable"));
    assert_eq!(option(&doctor, "cgroup_root").0, ["/c"]);
    for line in ["oomtrace explain shop/cart-0", "oomtrace timeline", "oomtrace collect -o node.tar.gz"] {
        let world = World { line, variables: &[("OOMTRACE_OUTPUT", "text"), ("OOMTRACE_FORMAT", "json")], file };
        assert_eq!(
            (option(&world, "host_root").0, option(&world, "cgroup_root").0),
            (vec!["/host".to_owned()], vec!["/c".to_owned()]),
            "{line}"
        );
    }
    let variables = &[("OOMTRACE_NODE_NAME", "n1")];
    let explain = World { line: "oomtrace explain shop/cart-0", variables, file };
    assert_eq!(option(&explain, "node_name").0, ["n1"]);
    let timeline = World { line: "oomtrace timeline of-another-node.log", variables, file };
    assert_eq!(option(&timeline, "node_of_logs").1, "default", "logs may be of any node");
    let healthy = World { line: "oomtrace healthy", variables: &[("OOMTRACE_ALIVE_FILE", "/run/alive")], file };
    assert_eq!(option(&healthy, "alive_file"), (vec!["/run/alive".to_owned()], "variable"));
}

#[test]
fn a_table_without_keys_says_nothing_and_has_to_be_one_that_there_is() {
    let world = World { line: "oomtrace run", variables: &[], file: "ring-size = 8\n[pods]\n" };
    assert_eq!(option(&world, "ring_size"), (vec!["8".to_owned()], "file"));
    assert_eq!(wrong("oomtrace run", &[], "[pod]\n"), "FILE:1: there is no option `[pod]`; is `pods` meant?");
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest_known_one() {
    let unknown = |file| wrong("oomtrace run", &[], file);
    assert_eq!(unknown("# one\nring-sise = 8"), "FILE:2: there is no option `ring-sise`; is `ring-size` meant?");
    assert_eq!(unknown("ring_size = 8"), "FILE:1: there is no option `ring_size`; is `ring-size` meant?");
    assert_eq!(unknown("zzz = 8"), "FILE:1: there is no option `zzz`");
    assert_eq!(unknown("[pod]\nformat = \"json\""), "FILE:2: there is no option `[pod]`; is `pods` meant?");
    assert_eq!(unknown("[pods]\nfromat = \"json\""), "FILE:2: there is no option `pods.fromat`; is `format` meant?");
    assert!(unknown("config = \"/a\"").contains("there is no option `config`"), "a file names no other");
}

#[test]
fn a_value_of_the_wrong_type_is_an_error_that_says_what_it_has_to_be() {
    let file = |file| wrong("oomtrace run", &[], file);
    assert_eq!(file("ring-size = \"8\""), "FILE:1: `ring-size`: it has to be a number without quotes, and is text");
    assert_eq!(file("node-name = 8"), "FILE:1: `node-name`: it has to be text in quotes, and is a number");
    assert_eq!(file("no-incidents = 1"), "FILE:1: `no-incidents`: it has to be true or false, and is a number");
    assert_eq!(file("node-name = [\"a\"]"), "FILE:1: `node-name`: it has to be text in quotes, and is a list");
    assert_eq!(file("ring-size = 3"), "FILE:1: `ring-size`: \"3\": it has to be a power of two from 4 to 1048576");
    assert_eq!(file("probe = \"best\"").split(" auto").next(), Some("FILE:1: `probe`: \"best\": it has to be"));
    assert!(file("ring-size = ").starts_with("FILE: it is not TOML: "));
    let variable = |name, value| wrong("oomtrace run", &[(name, value)], "");
    assert_eq!(
        variable("OOMTRACE_RING_SIZE", "many"),
        "environment variable OOMTRACE_RING_SIZE: `ring-size`: \"many\": it has to be a power of two from 4 to 1048576"
    );
    assert!(variable("OOMTRACE_CRI_EVENTS", "maybe").ends_with("it has to be true or false"));
}

#[test]
fn a_weaker_option_gives_way_to_a_stronger_one_that_contradicts_it() {
    let file = "no-kubelet-log = true";
    let world = World { line: "oomtrace run --kubelet-log /a", variables: &[], file };
    assert_eq!(option(&world, "no_kubelet_log"), (vec!["false".to_owned()], "default"));
    let world = World { line: "oomtrace run", variables: &[("OOMTRACE_KUBELET_LOG", "/a")], file };
    assert_eq!(option(&world, "no_kubelet_log").1, "default");
    assert_eq!(option(&world, "kubelet_log"), (vec!["/a".to_owned()], "variable"));
    let both = wrong("oomtrace run", &[], "no-kubelet-log = true\nkubelet-log = \"/a\"");
    assert!(both.contains("FILE:1") && both.contains("FILE:2") && both.contains("contradict"), "{both}");
    let off = World { line: "oomtrace run", variables: &[], file: "no-kubelet-log = false\nkubelet-log = \"/a\"" };
    assert_eq!(option(&off, "kubelet_log").1, "file");
}

#[test]
fn a_variable_that_is_nearly_an_options_is_warned_of_and_a_services_is_not() {
    let variables = [("OOMTRACE_RING_SISE", "8"), ("OOMTRACE_SERVICE_HOST", "10.0.0.1"), ("OOMTRACE_PORT", "tcp://a")];
    let (layered, _) = layers(&World { line: "oomtrace run", variables: &variables, file: "" }).expect("no error");
    assert_eq!(layered.warnings, ["OOMTRACE_RING_SISE in the environment is no option; is OOMTRACE_RING_SIZE meant?"]);
}

#[test]
fn a_named_file_has_to_be_there_and_completions_need_none() {
    let error = wrong("oomtrace --config /nowhere.toml run", &[], "");
    assert!(error.starts_with("/nowhere.toml cannot be read (No such file"), "{error}");
    assert!(layers(&World { line: "oomtrace completions bash", variables: &[], file: "nonsense" }).is_ok());
}
