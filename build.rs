//! Includes the tests on real assets in the build only if `DEADWEIGHT_ASSETS` names their folder.

fn main() {
    println!("cargo::rerun-if-env-changed=DEADWEIGHT_ASSETS");
    println!("cargo::rustc-check-cfg=cfg(deadweight_assets)");
    let Some(folder) = std::env::var_os("DEADWEIGHT_ASSETS") else { return };
    // Tests run in the package's folder, but a relative path is relative to where cargo was started: resolved here.
    match std::fs::canonicalize(&folder) {
        Ok(folder) => {
            println!("cargo::rustc-cfg=deadweight_assets");
            println!("cargo::rustc-env=DEADWEIGHT_ASSETS_DIR={}", folder.display());
        }
        Err(error) => println!("cargo::error=DEADWEIGHT_ASSETS={}: {error}", folder.display()),
    }
}
