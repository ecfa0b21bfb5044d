#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oomtrace_fuzz::kubelet_answers(data));
