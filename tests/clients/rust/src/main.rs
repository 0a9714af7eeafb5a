//! toxiproxy_rust and noxious-client against `brownout proxy`: proxies, every toxic that they know, and what the
//! bytes feel.

mod bytes;
mod noxious;
mod toxiproxy;

fn main() {
    let address = std::env::args().nth(1).expect("the address of the server");
    // It is blocking, and must not be used inside an asynchronous runtime.
    toxiproxy::run(&address);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(noxious::run(&address));
}
