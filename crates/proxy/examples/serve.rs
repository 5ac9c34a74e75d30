fn main() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .init();
    let config =
        pglanes_config::load(std::path::Path::new(&std::env::args().nth(1).unwrap())).unwrap();
    let p = pglanes_proxy::Proxy::start(config).unwrap();
    println!("{:?}", p.addresses());
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    loop {
        std::thread::sleep(std::time::Duration::from_secs(5));
        if std::env::var("VIEW").is_ok() {
            println!("{:#?}", rt.block_on(p.handle().view()));
        }
    }
}
