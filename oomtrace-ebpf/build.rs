//! Tells bpf-linker how to treat the probes.

fn main() {
    // By default bpf-linker turns copies and zeroing into calls of loops, which older verifiers take too long for.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "bpf") {
        println!("cargo:rustc-link-arg-bins=--disable-expand-memcpy-in-order");
    }
}
