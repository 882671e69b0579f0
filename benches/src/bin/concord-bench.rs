//! The load generator's command line.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is the point"
)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use concord_benches::load::constant::Constant;
use concord_benches::load::driver::{Driver, Nothing};
use concord_benches::load::embedded::Embedded;
use concord_benches::load::etcd::Etcd;
use concord_benches::load::http::Http;
use concord_benches::load::{DriverKind, KeySpace, Options, Report, Row, constant, preload, run};

/// As in the server's binary: the embedded driver is measured with what Concord ships with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if options.threads > 0 {
        builder.worker_threads(options.threads);
    }
    let report = builder
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(load(&options)));
    match report.and_then(|report| show(&report, options.json.as_deref()).map(|()| report.is_clean())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("concord-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(report: &Report, json: Option<&Path>) -> Result<(), String> {
    let Some(path) = json else {
        print!("{}", report.to_table());
        return Ok(());
    };
    let text = format!("{:#}\n", report.to_json());
    if path == Path::new("-") {
        eprint!("{}", report.to_table());
        print!("{text}");
        return Ok(());
    }
    print!("{}", report.to_table());
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

async fn load(options: &Options) -> Result<Report, String> {
    let endpoints = || {
        if options.endpoints.is_empty() {
            return Err("--endpoints is needed for this driver".to_owned());
        }
        Ok(options.endpoints.clone())
    };
    match options.driver {
        DriverKind::Http => measure(&Http::new(endpoints()?, options.read_consistency), options).await,
        DriverKind::Etcd => measure(&Etcd::new(endpoints()?, options.read_consistency), options).await,
        DriverKind::Constant => {
            let body = br#"{"status":"ok","data":{"revision":123456}}"#;
            let address = constant::serve(body).await.map_err(|error| error.to_string())?;
            measure(&Constant::new(address, options.read_consistency), options).await
        }
        DriverKind::Nothing => measure(&Nothing, options).await,
        DriverKind::Embedded => {
            let (nodes, directory) = (options.nodes, options.data_dir.clone());
            let driver = Embedded::start(nodes, directory, options.read_consistency).await?;
            let report = measure(&driver, options).await;
            driver.stop().await?;
            report
        }
    }
}

async fn measure<D: Driver>(driver: &D, options: &Options) -> Result<Report, String> {
    let keys = Arc::new(KeySpace::new(options.keys, options.value_bytes, options.seed));
    if !options.no_preload {
        preload(driver, &keys, options.seed).await?;
    }
    let mut rows = Vec::new();
    for &callers in &options.callers {
        rows.push(Row {
            callers,
            outcome: run(driver, &keys, options, callers.max(1)).await?,
        });
    }
    Ok(Report {
        options: options.clone(),
        rows,
    })
}
