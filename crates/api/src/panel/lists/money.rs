//! What waits for a decision about money.

use maud::html;
use serde_json::json;

use super::{amount, both, choices, id, plain, when};
use crate::{
    panel::{
        source::source,
        table::{Action, Column, Filter, List, Part},
        values::{at, badge, list, money, over, short, text},
    },
    payments, withdrawals,
};

/// What is asked for with a decision about a payment.
const NOTE: &[(&str, &str, bool)] = &[("note", "Note for the books", false)];

pub(super) fn withdrawals() -> List {
    List {
        path: "/admin/withdrawals",
        title: "Withdrawals",
        about: "Paying out happens at your bank; approve what you have paid. Rejecting puts the money back on the balance.",
        source: source(withdrawals::handlers::all),
        filters: vec![Filter::Choice(
            "status",
            "State",
            choices(&[
                ("", "All"),
                ("Processing", "Waiting"),
                ("Succeeded", "Paid out"),
                ("Rejected", "Rejected"),
            ]),
        )],
        parts: vec![Part {
            title: "",
            rows: "withdraws",
            columns: vec![
                id("_id"),
                when("Asked for", "createdAt"),
                both("Shop", "seller.name", "seller._id"),
                Column::new("Bank", |row| {
                    let method = at(row, "seller.withdrawMethod");
                    let bank = format!("{} {}", text(method, "bankName"), text(method, "bankCountry"));
                    let account =
                        format!("{} {}", text(method, "bankHolderName"), text(method, "bankAccountNumber"));
                    over(bank.trim(), account.trim())
                }),
                amount("Amount", "amount"),
                Column::new("State", |row| {
                    html! {
                        (badge(&text(row, "status")))
                        @let reason = text(row, "reason");
                        @if !reason.is_empty() { span.sub { (reason) } }
                    }
                }),
            ],
            actions: |row| {
                if text(row, "status") != "Processing" {
                    return Vec::new();
                }
                let url = format!("/api/withDraw/update-withdraw-request/{}", text(row, "_id"));
                let what = format!("{} of {}", money(row, "amount"), text(row, "seller.name"));
                vec![
                    Action::put("Approve", url.clone(), format!("Approve {what}"))
                        .explained("The shop is told that the money is on its way.")
                        .sending(json!({ "status": "Succeeded" })),
                    Action::put("Reject", url, format!("Reject {what}"))
                        .explained("The amount is put back on the shop's balance.")
                        .asking(&[("reason", "Reason, which the shop is told", false)])
                        .sending(json!({ "status": "Rejected" }))
                        .dangerous(),
                ]
            },
            none: "Nobody has asked for money.",
        }],
    }
}

pub(super) fn payments() -> List {
    List {
        path: "/admin/payments",
        title: "Payments that need somebody",
        about: "Payments without an order, refunds made elsewhere, and PayPal payers whose payment nobody has confirmed.",
        source: source(payments::attention::handlers::list),
        filters: Vec::new(),
        parts: vec![
            Part {
                title: "Payments",
                rows: "payments",
                columns: vec![
                    Column::new("Payment", |row| over(&text(row, "_id"), &text(row, "gateway"))),
                    when("Since", "at"),
                    amount("Amount", "amount"),
                    plain("Why", "message"),
                ],
                actions: |row| {
                    let id = text(row, "_id");
                    let url = format!("/api/payment/settle/{id}");
                    let give_back = Action::put("Return", url.clone(), format!("Return payment {id}"))
                        .explained("The money goes back the way it came.")
                        .asking(NOTE)
                        .sending(json!({ "decision": "return" }))
                        .dangerous();
                    let keep = Action::put("Keep", url, format!("Keep payment {id}"))
                        .explained("Somebody has looked at it, and it stays as it is.")
                        .asking(NOTE)
                        .sending(json!({ "decision": "keep" }));
                    match at(row, "returnable").as_bool() {
                        Some(true) => vec![give_back, keep],
                        _ => vec![keep],
                    }
                },
                none: "No payment waits for anybody.",
            },
            Part {
                title: "PayPal payers without a confirmed payment",
                rows: "claims",
                columns: vec![
                    Column::new("Checkout", |row| short(&text(row, "checkoutId"))),
                    when("Placed", "placedAt"),
                    amount("Amount", "total"),
                    plain("Payer", "payer"),
                    Column::new("Orders", |row| {
                        html! {
                            @for order in list(row, "orders") {
                                span.sub { (text(order, "shop.name")) ", " (money(order, "totalPrice")) ", " (text(order, "status")) }
                            }
                        }
                    }),
                ],
                actions: |row| {
                    let id = text(row, "checkoutId");
                    vec![
                        Action::put(
                            "Name the payment",
                            format!("/api/payment/verify-claim/{id}"),
                            "Name its payment".to_owned(),
                        )
                        .explained(
                            "The capture at PayPal that paid for this checkout. It is looked up there.",
                        )
                        .asking(&[(
                            "capture",
                            "Id of the capture or order at PayPal",
                            true,
                        )]),
                    ]
                },
                none: "Every PayPal payment is confirmed.",
            },
        ],
    }
}
