//! What sets the size of a runtime's heap: flags on command lines, variables of the environment.

use serde_json::Value;

use super::objects::text;

/// Environment variables that set the size of a runtime's heap, or have options of it among others.
pub const HEAP_VARIABLES: [&str; 21] = [
    "JAVA_TOOL_OPTIONS",
    "JAVA_OPTS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "CATALINA_OPTS",
    "KAFKA_HEAP_OPTS",
    "ES_JAVA_OPTS",
    "JVM_OPTS",
    "SBT_OPTS",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
    "NODE_OPTIONS",
    "GOMEMLIMIT",
    "GOGC",
    "DOTNET_GCHeapHardLimit",
    "DOTNET_GCHeapHardLimitPercent",
    "DOTNET_GCConserveMemory",
    "DOTNET_gcServer",
    "COMPlus_GCHeapHardLimit",
    "COMPlus_GCHeapHardLimitPercent",
    "PHP_MEMORY_LIMIT",
];

/// Flags of programs that set the size of a heap.
const HEAP_FLAGS: [&str; 12] = [
    "-Xmx",
    "-Xms",
    "-XX:MaxRAM",
    "-XX:MinRAM",
    "-XX:InitialRAMPercentage",
    "-XX:MaxHeapSize=",
    "-XX:MaxDirectMemorySize=",
    "-XX:MaxMetaspaceSize=",
    "--max-old-space-size",
    "--max_old_space_size",
    "--max-semi-space-size",
    "memory_limit=",
];

/// Whether a word of a command line sets the size of a heap.
#[must_use]
pub fn is_heap_flag(word: &str) -> bool {
    HEAP_FLAGS.iter().any(|flag| word.starts_with(flag)) && word.len() < MOST_OF_A_SETTING
}

/// A longer setting is none.
const MOST_OF_A_SETTING: usize = 128;

/// What a variable sets of a heap: its value, or of other options' beside them those alone.
#[must_use]
pub fn heap_flags(name: &str, value: &str) -> Option<String> {
    if !name.contains("OPT") {
        return (value.len() < MOST_OF_A_SETTING).then(|| format!("{name}={value}"));
    }
    let flags: Vec<&str> =
        value.split_whitespace().filter(|word| is_heap_flag(word.trim_matches(['"', '\'']))).collect();
    (!flags.is_empty()).then(|| format!("{name}={}", flags.join(" ")))
}

/// Flags and variables that set the size of a runtime's heap.
pub(super) fn heap_settings(container: &Value) -> Vec<String> {
    let list = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
    let words = list("command").chain(list("args")).filter_map(Value::as_str).flat_map(str::split_whitespace);
    let flags = words.filter(|word| is_heap_flag(word)).map(str::to_owned);
    let variables = list("env").filter_map(|variable| {
        let name = text(variable, "name").filter(|name| HEAP_VARIABLES.contains(name))?;
        heap_flags(name, text(variable, "value")?)
    });
    flags.chain(variables).collect()
}
