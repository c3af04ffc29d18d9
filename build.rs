//! Builds the tests on real assets in only where `DEADWEIGHT_ASSETS` names their folder.

fn main() {
    println!("cargo::rerun-if-env-changed=DEADWEIGHT_ASSETS");
    println!("cargo::rustc-check-cfg=cfg(deadweight_assets)");
    let Some(folder) = std::env::var_os("DEADWEIGHT_ASSETS") else { return };
    // Tests run in the package's folder, a relative path is meant from where cargo was started: settle it here.
    match std::fs::canonicalize(&folder) {
        Ok(folder) => {
            println!("cargo::rustc-cfg=deadweight_assets");
            println!("cargo::rustc-env=DEADWEIGHT_ASSETS_DIR={}", folder.display());
        }
        Err(error) => println!("cargo::error=DEADWEIGHT_ASSETS={}: {error}", folder.display()),
    }
}
