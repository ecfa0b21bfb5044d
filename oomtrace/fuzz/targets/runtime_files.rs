#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oomtrace_fuzz::runtime_files(data));
