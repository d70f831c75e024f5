/**
 * Refusals of blocking functions in the languages that we have.
 *
 * A function knows the person's language (`context.locale`) and may answer in it; then its words are shown as they are.
 * The ready-made functions, and those in Google's documentation, answer in English. Their sentences are known, so they
 * are shown in the person's own language. The address in them stays what it is.
 */

const EMAIL = "{email}";

interface Known {
  /** The English sentence; a group is the address. */
  readonly said: RegExp;
  readonly in: Readonly<Record<string, string>>;
}

/** Each sentence in each language of the table `LANGUAGES`. */
const KNOWN: readonly Known[] = [
  {
    said: /^Unauthorized email "(.*)"$/,
    in: {
      en: `${EMAIL} may not register here. Use an address of your organisation.`,
      de: `${EMAIL} darf sich hier nicht registrieren. Verwenden Sie eine Adresse Ihrer Organisation.`,
      es: `${EMAIL} no puede registrarse aquí. Usa una dirección de tu organización.`,
      fr: `${EMAIL} ne peut pas s’inscrire ici. Utilisez une adresse de votre organisation.`,
      id: `${EMAIL} tidak dapat mendaftar di sini. Gunakan alamat organisasi Anda.`,
      it: `${EMAIL} non può registrarsi qui. Usa un indirizzo della tua organizzazione.`,
      vi: `${EMAIL} không thể đăng ký tại đây. Hãy dùng địa chỉ của tổ chức bạn.`,
    },
  },
  {
    said: /^Unverified email "(.*)"$/,
    in: {
      en: `${EMAIL} is not verified, so it cannot be registered this way.`,
      de: `${EMAIL} ist nicht bestätigt und kann so nicht registriert werden.`,
      es: `${EMAIL} no está verificada, por lo que no se puede registrar de esta forma.`,
      fr: `${EMAIL} n’est pas vérifiée et ne peut pas être inscrite de cette façon.`,
      id: `${EMAIL} belum diverifikasi, sehingga tidak dapat didaftarkan dengan cara ini.`,
      it: `${EMAIL} non è verificato e non può essere registrato in questo modo.`,
      vi: `${EMAIL} chưa được xác minh nên không thể đăng ký theo cách này.`,
    },
  },
  {
    said: /^"(.*)" needs to be verified before access is granted\.$/,
    in: {
      en: `Verify ${EMAIL} first: open the link in the message that was sent there, then sign in.`,
      de: `Bestätigen Sie zuerst ${EMAIL}: Öffnen Sie den Link in der Nachricht, die dorthin ging, und melden Sie sich dann an.`,
      es: `Verifica primero ${EMAIL}: abre el enlace del mensaje que te enviamos y después inicia sesión.`,
      fr: `Vérifiez d’abord ${EMAIL} : ouvrez le lien du message qui y a été envoyé, puis connectez-vous.`,
      id: `Verifikasi ${EMAIL} terlebih dahulu: buka tautan dalam pesan yang dikirim ke sana, lalu masuk.`,
      it: `Verifica prima ${EMAIL}: apri il link nel messaggio che ti è stato inviato, poi accedi.`,
      vi: `Hãy xác minh ${EMAIL} trước: mở liên kết trong thư đã gửi đến đó rồi đăng nhập.`,
    },
  },
  {
    said: /^Unauthorized access!$/,
    in: {
      en: "You cannot sign in from this network.",
      de: "Aus diesem Netz können Sie sich nicht anmelden.",
      es: "No puedes iniciar sesión desde esta red.",
      fr: "Vous ne pouvez pas vous connecter depuis ce réseau.",
      id: "Anda tidak dapat masuk dari jaringan ini.",
      it: "Non puoi accedere da questa rete.",
      vi: "Bạn không thể đăng nhập từ mạng này.",
    },
  },
  {
    said: /^An e-mail address of an allowed domain is needed\.$/,
    in: {
      en: "Registering here needs an e-mail address of your organisation.",
      de: "Zur Registrierung brauchen Sie eine E-Mail-Adresse Ihrer Organisation.",
      es: "Para registrarte necesitas una dirección de correo de tu organización.",
      fr: "Pour vous inscrire, il faut une adresse e-mail de votre organisation.",
      id: "Untuk mendaftar di sini diperlukan alamat email organisasi Anda.",
      it: "Per registrarti serve un indirizzo e-mail della tua organizzazione.",
      vi: "Để đăng ký, bạn cần một địa chỉ email của tổ chức bạn.",
    },
  },
  {
    said: /^The photo could not be checked\. Try again later\.$/,
    in: {
      en: "Your photo could not be checked. Try again later.",
      de: "Ihr Foto konnte nicht geprüft werden. Versuchen Sie es später noch einmal.",
      es: "No se pudo comprobar tu foto. Inténtalo más tarde.",
      fr: "Votre photo n’a pas pu être vérifiée. Réessayez plus tard.",
      id: "Foto Anda tidak dapat diperiksa. Coba lagi nanti.",
      it: "Non è stato possibile controllare la tua foto. Riprova più tardi.",
      vi: "Không thể kiểm tra ảnh của bạn. Hãy thử lại sau.",
    },
  },
  {
    // Not a sentence of a function: it did not answer, or not in words for people.
    said: /^$/,
    in: {
      en: "A check that this site makes at sign-in did not answer. Please try again in a moment.",
      de: "Eine Prüfung dieser Website bei der Anmeldung hat nicht geantwortet. Bitte versuchen Sie es gleich noch einmal.",
      es: "Una comprobación de este sitio no respondió. Inténtalo de nuevo en un momento.",
      fr: "Une vérification de ce site n’a pas répondu. Réessayez dans un instant.",
      id: "Pemeriksaan situs ini saat masuk tidak menjawab. Silakan coba lagi sebentar lagi.",
      it: "Un controllo di questo sito non ha risposto. Riprova tra poco.",
      vi: "Bước kiểm tra của trang này khi đăng nhập không phản hồi. Vui lòng thử lại sau giây lát.",
    },
  },
];

/** Languages that the table has. */
export const LANGUAGES: readonly string[] = ["en", "de", "es", "fr", "id", "it", "vi"];

/** The first of the person's languages (BCP 47, best first) that the table has; English when it has none. */
export function languageOf(preferred: readonly string[]): string {
  const primary = preferred.map((tag) => tag.toLowerCase().split("-", 1)[0] ?? "");
  return primary.find((tag) => LANGUAGES.includes(tag)) ?? "en";
}

/** A known sentence in a language of the table; undefined for a function's own words, which are shown as they are. */
export function localized(sentence: string, language: string): string | undefined {
  for (const { said, in: texts } of KNOWN) {
    const match = said.exec(sentence);
    const text = match && (texts[language] ?? texts.en);
    // A function for replacing: what stands in an address is no pattern.
    if (text) return text.replace(EMAIL, () => match[1] ?? "");
  }
  return undefined;
}
