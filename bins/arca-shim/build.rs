//! Links the shim at a fixed address: there is one shim per container, and what is relocated at start
//! (some 400 KiB of tables) would be private memory of each, and a millisecond of each start.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
