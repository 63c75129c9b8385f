/** The user property of this name (MQTT 5); undefined when there is none or it was sent more than once. */
export function textProperty(
  properties: { readonly userProperties?: Readonly<Record<string, string | string[]>> } | undefined,
  name: string,
): string | undefined {
  const value = properties?.userProperties?.[name];
  return typeof value === 'string' ? value : undefined;
}
