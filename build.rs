//! Includes the tests on real files in the build only if a variable names their folder: `DEADWEIGHT_ASSETS` those of weights and data,
//! `DEADWEIGHT_FETCHED` public ONNX files, `DEADWEIGHT_CASES` files as other programs write them, `DEADWEIGHT_RUSTDOC` the surface of the
//! library as rustdoc's JSON.

fn main() {
    for (variable, cfg) in [
        ("DEADWEIGHT_ASSETS", "deadweight_assets"),
        ("DEADWEIGHT_FETCHED", "deadweight_fetched"),
        ("DEADWEIGHT_CASES", "deadweight_cases"),
        ("DEADWEIGHT_RUSTDOC", "deadweight_rustdoc"),
    ] {
        println!("cargo::rerun-if-env-changed={variable}");
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        let Some(folder) = std::env::var_os(variable) else { continue };
        // Tests run in the package's folder, but a relative path is relative to where cargo was started: resolved here.
        match std::fs::canonicalize(&folder) {
            Ok(folder) => {
                println!("cargo::rustc-cfg={cfg}");
                println!("cargo::rustc-env={variable}_DIR={}", folder.display());
            }
            Err(error) => println!("cargo::error={variable}={}: {error}", folder.display()),
        }
    }
}
