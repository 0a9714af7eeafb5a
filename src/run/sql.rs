//! A check by SQL: asks a server that speaks PostgreSQL's protocol, over a connection of its own.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::action::{clip, permitted};
use super::secrets;
use crate::permit::Permit;
use crate::plan::sql::{SqlQuery, SqlRow};

/// What the server shows in its list of sessions.
const NAME: &str = "brownout";

/// Asks, and judges the answer: whether it is good, and what it was.
pub(super) async fn ask(query: &SqlQuery, permit: &Permit) -> (bool, String) {
    match rows(query, permit).await {
        Ok(rows) => {
            let (good, said) = query.judge(&rows);
            (good, clip(&said))
        }
        Err(why) => (false, clip(&why)),
    }
}

async fn rows(query: &SqlQuery, permit: &Permit) -> Result<Vec<SqlRow>, String> {
    let host = query.host().ok_or_else(|| format!("`{}` is no `host:port`", query.address))?;
    let socket = dial(&permitted(&host, permit).await?).await?;
    let mut config = Config::new();
    config.user(&query.user).dbname(&query.database).application_name(NAME);
    if let Some(password) = &query.password {
        config.password(secrets::read(password).map_err(|error| error.to_string())?);
    }
    let (client, connection) = config.connect_raw(socket, NoTls).await.map_err(|error| said(&error))?;
    let asked = async {
        let mut rows = Vec::new();
        for message in client.simple_query(&query.query).await.map_err(|error| said(&error))? {
            match message {
                // Another statement's answer begins.
                SimpleQueryMessage::RowDescription(_) => rows.clear(),
                SimpleQueryMessage::Row(row) => rows.push(texts(&row)),
                _ => {}
            }
        }
        Ok(rows)
    };
    // The connection answers only while it is driven; dropping it closes it.
    tokio::select! {
        rows = asked => rows,
        ended = connection => Err(ended.err().map_or("the server closed the connection".to_owned(), |error| said(&error))),
    }
}

/// The first of a host's addresses that accepts.
async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut why = "it has no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(why)
}

fn texts(row: &SimpleQueryRow) -> SqlRow {
    (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()
}

/// What the server said, or else what went wrong.
fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{}: {} ({})", error.severity(), error.message(), error.code().code()),
        None => super::chain(error),
    }
}
