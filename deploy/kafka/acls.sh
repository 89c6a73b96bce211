#!/usr/bin/env bash
# Access lists of Sotto Voce's users, written by `sottovoce topics acls`, which `make acls` runs.
#
#   BROKERS=kafka:9092 COMMAND_CONFIG=admin.properties bash deploy/kafka/acls.sh
#
# It only adds; `kafka-acls.sh --list` shows what is there. A user of another name is given as its
# principal: GATE='User:CN=gate' names the gate by its certificate. Brokers need an authorizer, and
# allow.everyone.if.no.acl.found=false. Analysts have no user: they open releases, which are files.
set -euo pipefail

grant() {
  "${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "${BROKERS:?host:port of Kafka}" \
    ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} --add --allow-principal "$@"
}

# gate: the worker with the key
grant "${GATE:-User:gate}" --operation Read --topic plays --topic consent --topic privacy-requests --topic privacy-answers --topic privacy-standing --topic privacy-commands --topic privacy-receipts --topic catalogue --topic deliveries
grant "${GATE:-User:gate}" --operation Write --topic plays.rejected --topic listens --topic listens.analytics --topic consent --topic privacy-standing --topic privacy-commands --topic privacy-rekeys --topic privacy-receipts --topic deliveries
grant "${GATE:-User:gate}" --operation Read --group sottovoce-gate

# taste: the taste worker
grant "${TASTE:-User:taste}" --operation Read --topic listens --topic privacy-commands --topic privacy-rekeys --topic taste-state
grant "${TASTE:-User:taste}" --operation Write --topic taste-state --topic taste-profiles --topic privacy-answers
grant "${TASTE:-User:taste}" --operation Read --group sottovoce-taste
grant "${TASTE:-User:taste}" --operation Write --transactional-id sottovoce-taste- --resource-pattern-type prefixed

# report: the report worker
grant "${REPORT:-User:report}" --operation Read --topic listens.analytics --topic privacy-commands --topic privacy-rekeys
grant "${REPORT:-User:report}" --operation Write --topic privacy-answers
grant "${REPORT:-User:report}" --operation Read --group sottovoce-report

# client: players, headphones and apps
grant "${CLIENT:-User:client}" --operation Write --topic plays

# privacy-officer: sottovoce consent, privacy and keys
grant "${PRIVACY_OFFICER:-User:privacy-officer}" --operation Read --topic consent --topic privacy-requests --topic privacy-answers --topic privacy-receipts --topic plays --topic plays.rejected --topic privacy-standing --topic deliveries
grant "${PRIVACY_OFFICER:-User:privacy-officer}" --operation Write --topic consent --topic privacy-requests
grant "${PRIVACY_OFFICER:-User:privacy-officer}" --operation Delete --topic privacy-rekeys

# raw-operator: sottovoce rejected and catalogue
grant "${RAW_OPERATOR:-User:raw-operator}" --operation Read --topic plays --topic plays.rejected
grant "${RAW_OPERATOR:-User:raw-operator}" --operation Write --topic plays --topic catalogue

# operator: sottovoce topics, doctor and rebuild, monitoring
grant "${OPERATOR:-User:operator}" --operation Delete --topic taste-state
grant "${OPERATOR:-User:operator}" --operation Create --operation Describe --operation DescribeConfigs --topic '*'
grant "${OPERATOR:-User:operator}" --operation Describe --group sottovoce- --resource-pattern-type prefixed

# product-team: who uses profiles
grant "${PRODUCT_TEAM:-User:product-team}" --operation Read --topic taste-profiles
grant "${PRODUCT_TEAM:-User:product-team}" --operation Read --group product-team- --resource-pattern-type prefixed
